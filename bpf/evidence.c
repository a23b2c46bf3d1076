/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/evidence.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_BYTES 4608

/* Libraries of its own that are looked into, in a process: Python has dozens, and one look at a
 * large file takes milliseconds. */
#define FILES_MAX 64

/* Of a file: a table, what is searched of a section, and how much of it at once. */
#define TABLE_BYTES_MAX ((size_t)32 << 20)
#define SECTION_BYTES_MAX ((uint64_t)256 << 20)
#define WINDOW_BYTES ((size_t)256 << 10)
#define WORD_BYTES_MAX ((size_t)32)

/* --- one file ----------------------------------------------------------------------------------
 *
 * It is read, not mapped: who owns it may cut it meanwhile, and that must not end the agent. */

static bool
read_at(int fd, uint64_t offset, void *bytes, size_t count)
{
    size_t done = 0;
    while (done < count && offset + done <= INT64_MAX) {
        ssize_t more = pread(fd, (uint8_t *)bytes + done, count - done, (off_t)(offset + done));
        if (more <= 0 && !(more < 0 && errno == EINTR)) {
            return false;
        }
        done += more > 0 ? (size_t)more : 0;
    }
    return done == count;
}

/* A table of the file, for free; NULL where it is not there, or too large. */
static void *
load(int fd, uint64_t offset, uint64_t count)
{
    void *bytes = count == 0 || count > TABLE_BYTES_MAX ? NULL : malloc(count);
    if (bytes != NULL && !read_at(fd, offset, bytes, count)) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

/* Words of the sources that a library was built from: in rustls the paths of its files, in
 * BoringSSL and OpenSSL their versions; and names that a linker left. */
enum word { RUSTLS_PATH, RUSTLS_NAME, BORINGSSL, AWS_LC, OPENSSL_VERSION, OPENSSL_FILE, WORDS };
static const struct {
    const char *text;
    bool ends; /* with what follows it: a NUL */
} words[WORDS] = {
    [RUSTLS_PATH] = {"/rustls-0.", false},
    [RUSTLS_NAME] = {"6rustls", false},
    [BORINGSSL] = {"BoringSSL", false}, /* which has ssl_lib.cc */
    [AWS_LC] = {"AWS-LC ", false},
    [OPENSSL_VERSION] = {"OpenSSL ", false},
    [OPENSSL_FILE] = {"ssl/ssl_lib.c", true},
};

static void
search(int fd, uint64_t offset, uint64_t count, bool found[static WORDS])
{
    uint8_t *window = malloc(WINDOW_BYTES);
    uint64_t left = count < SECTION_BYTES_MAX ? count : SECTION_BYTES_MAX;
    while (window != NULL && left > 0) {
        size_t bytes = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        if (!read_at(fd, offset, window, bytes)) {
            break;
        }
        for (size_t i = 0; i < WORDS; i++) {
            size_t word_bytes = strlen(words[i].text) + (words[i].ends ? 1 : 0);
            found[i] = found[i] || memmem(window, bytes, words[i].text, word_bytes) != NULL;
        }
        size_t step = bytes == left ? bytes : bytes - WORD_BYTES_MAX; /* a word may lie across */
        offset += step;
        left -= step;
    }
    free(window);
}

static void
look_for_words(int fd, const Elf64_Shdr *section, struct ns_tls_evidence *evidence)
{
    bool found[WORDS] = {false};
    search(fd, section->sh_offset, section->sh_size, found);
    evidence->rustls = evidence->rustls || found[RUSTLS_PATH] || found[RUSTLS_NAME];
    evidence->boringssl = evidence->boringssl || found[BORINGSSL] || found[AWS_LC];
    evidence->hidden_openssl =
        evidence->hidden_openssl || (found[OPENSSL_VERSION] && found[OPENSSL_FILE]);
}

/* Is this a function of its own that it shows to others, not one that it wants? */
static bool
shows(int fd, const Elf64_Shdr *section, const Elf64_Shdr *texts, const char *name)
{
    bool found = false;
    Elf64_Sym *symbols = load(fd, section->sh_offset, section->sh_size);
    char *names = load(fd, texts->sh_offset, texts->sh_size);
    size_t count = symbols == NULL || names == NULL ? 0 : section->sh_size / sizeof *symbols;
    size_t name_bytes = strlen(name) + 1;
    for (size_t i = 0; i < count && !found; i++) {
        uint64_t from = symbols[i].st_name;
        found = symbols[i].st_shndx != SHN_UNDEF && from < texts->sh_size &&
                texts->sh_size - from >= name_bytes && memcmp(names + from, name, name_bytes) == 0;
    }
    free(symbols);
    free(names);
    return found;
}

static void
look_at_section(int fd, const Elf64_Shdr *sections, size_t count, size_t place, const char *name,
                struct ns_tls_evidence *evidence)
{
    const Elf64_Shdr *section = &sections[place];
    if (strcmp(name, ".go.buildinfo") == 0 || strcmp(name, ".note.go.buildid") == 0) {
        evidence->go = true;
    } else if (section->sh_type == SHT_DYNSYM) {
        evidence->shows_openssl = section->sh_link < count &&
                                  shows(fd, section, &sections[section->sh_link], "SSL_write");
    } else if (section->sh_type != SHT_NOBITS &&
               (strcmp(name, ".rodata") == 0 || strcmp(name, ".strtab") == 0 ||
                strcmp(name, ".data.rel.ro") == 0)) {
        look_for_words(fd, section, evidence);
    }
}

static void
look_at_sections(int fd, struct ns_tls_evidence *evidence)
{
    Elf64_Ehdr head;
    if (!read_at(fd, 0, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
        head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_shentsize != sizeof(Elf64_Shdr) ||
        head.e_shstrndx >= head.e_shnum) {
        return;
    }
    Elf64_Shdr *sections = load(fd, head.e_shoff, (uint64_t)head.e_shnum * sizeof *sections);
    uint64_t texts_bytes = sections == NULL ? 0 : sections[head.e_shstrndx].sh_size;
    char *texts =
        sections == NULL ? NULL : load(fd, sections[head.e_shstrndx].sh_offset, texts_bytes);
    for (size_t i = 0; texts != NULL && i < head.e_shnum; i++) {
        uint64_t name = sections[i].sh_name;
        if (name < texts_bytes && memchr(texts + name, '\0', texts_bytes - name) != NULL) {
            look_at_section(fd, sections, head.e_shnum, i, texts + name, evidence);
        }
    }
    free(texts);
    free(sections);
}

int
ns_evidence_look_into(const char *path, struct ns_tls_evidence *evidence)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    int result = fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ? -EINVAL : 0;
    if (result == 0) {
        look_at_sections(fd, evidence);
    }
    close(fd);
    return result;
}

/* --- a process ---------------------------------------------------------------------------------
 */

static bool
begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Libraries of the distribution that are no TLS library, and are in most processes. */
static bool
is_common(const char *base)
{
    static const char *const names[] = {"libc.so",  "libc-",      "libm.so",    "libm-",
                                        "ld-linux", "libpthread", "libdl",      "libstdc++",
                                        "libgcc",   "libz.so",    "libcrypto.", "librt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (begins(base, names[i])) {
            return true;
        }
    }
    return false;
}

static void
look_at_library(uint32_t pid, const char *mapped, struct ns_tls_evidence *evidence, size_t *files)
{
    char path[LINE_BYTES + 64];
    const char *slash = strrchr(mapped, '/');
    const char *base = slash + 1;
    if (begins(base, "libnullspend.so")) {
        evidence->library = true;
    } else if (begins(base, "libssl3.so") || begins(base, "libnss3.so")) {
        evidence->nss = true; /* Mozilla's, by the numbers of its own */
    } else if (begins(base, "libssl")) {
        evidence->openssl = true;
    } else if (begins(base, "libgnutls")) {
        evidence->gnutls = true;
    } else if (begins(base, "libjvm.so")) {
        evidence->jvm = true;
    } else if (!is_common(base) && (*files)++ < FILES_MAX) {
        struct ns_tls_evidence inside = {0};
        snprintf(path, sizeof path, "/proc/%u/root%s", pid, mapped);
        ns_evidence_look_into(path, &inside);
        /* A library that is no libssl names SSL_write because it calls it. */
        evidence->rustls |= inside.rustls;
        evidence->boringssl |= inside.boringssl;
    }
}

/* "" where the process is gone, or has only its number left. */
static void
name_program(uint32_t pid, char name[static LINE_BYTES])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    ssize_t bytes = readlink(path, name, LINE_BYTES - 1);
    name[bytes > 0 ? bytes : 0] = '\0';
}

void
ns_evidence_look(uint32_t pid, struct ns_tls_evidence *evidence)
{
    char path[64], line[LINE_BYTES], last[LINE_BYTES] = "";
    char program[LINE_BYTES], then[LINE_BYTES];
    size_t files = 0;
    *evidence = (struct ns_tls_evidence){0};
    name_program(pid, program);
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    evidence->looked = ns_evidence_look_into(path, evidence) == 0;
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        char *mapped = strchr(line, '/');
        if (mapped == NULL) {
            continue;
        }
        mapped[strcspn(mapped, "\n")] = '\0';
        if (strcmp(mapped, last) != 0 && strcmp(mapped, program) != 0 &&
            (strstr(mapped, ".so") != NULL || strstr(mapped, ".node") != NULL)) {
            snprintf(last, sizeof last, "%s", mapped);
            look_at_library(pid, mapped, evidence, &files);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    /* Of one that ends meanwhile the kernel shows some files and not the rest. */
    name_program(pid, then);
    evidence->looked = evidence->looked && strcmp(then, program) == 0;
}

enum ns_darkness
ns_evidence_darkness(const struct ns_tls_evidence *evidence, bool in_reach)
{
    const struct {
        bool there;
        enum ns_darkness darkness;
    } rows[] = {
        {!evidence->looked, NS_DARKNESS_NOT_LOOKED_AT},
        {evidence->go, NS_DARKNESS_GO},
        {evidence->jvm, NS_DARKNESS_JVM},
        {evidence->rustls, NS_DARKNESS_RUSTLS}, /* may have AWS-LC for its ciphers */
        {evidence->boringssl, NS_DARKNESS_BORINGSSL},
        {evidence->openssl || evidence->shows_openssl,
         in_reach ? NS_DARKNESS_PAST_PROBE : NS_DARKNESS_NOT_ATTACHED},
        {evidence->hidden_openssl, NS_DARKNESS_OPENSSL_HIDDEN},
        {evidence->gnutls, NS_DARKNESS_GNUTLS},
        {evidence->nss, NS_DARKNESS_NSS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].there) {
            return rows[i].darkness;
        }
    }
    return NS_DARKNESS_UNRECOGNIZED;
}
