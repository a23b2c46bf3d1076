/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/evidence.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_BYTES 4608

/* Libraries of its own that are looked into, in a process: Python has dozens, and one look at a
 * large file takes milliseconds. */
#define FILES_MAX 64
#define FILE_BYTES_MAX ((size_t)256 << 20)

/* --- one file ----------------------------------------------------------------------------------
 */

struct file {
    const uint8_t *bytes;
    size_t count;
};

static const void *
at(const struct file *file, uint64_t offset, uint64_t count)
{
    return offset <= file->count && count <= file->count - offset ? file->bytes + offset : NULL;
}

static bool
contains(const struct file *file, const Elf64_Shdr *section, const char *text)
{
    const void *bytes =
        section->sh_type == SHT_NOBITS ? NULL : at(file, section->sh_offset, section->sh_size);
    return bytes != NULL && memmem(bytes, section->sh_size, text, strlen(text)) != NULL;
}

/* Is this one of the names in a string table? */
static bool
names(const struct file *file, const Elf64_Shdr *table, const char *name)
{
    const char *bytes = at(file, table->sh_offset, table->sh_size);
    size_t name_bytes = strlen(name) + 1;
    const char *found = bytes == NULL ? NULL : memmem(bytes, table->sh_size, name, name_bytes);
    return found != NULL && found > bytes && found[-1] == '\0';
}

/* Is this a function of its own that it shows to others, not one that it wants? */
static bool
shows(const struct file *file, const Elf64_Shdr *section, const Elf64_Shdr *texts, const char *name)
{
    const Elf64_Sym *symbols = section->sh_offset % _Alignof(Elf64_Sym) != 0
                                   ? NULL
                                   : at(file, section->sh_offset, section->sh_size);
    const char *names_at = at(file, texts->sh_offset, texts->sh_size);
    size_t count = symbols == NULL || names_at == NULL ? 0 : section->sh_size / sizeof *symbols;
    size_t name_bytes = strlen(name) + 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t from = symbols[i].st_name;
        if (symbols[i].st_shndx != SHN_UNDEF && from < texts->sh_size &&
            texts->sh_size - from >= name_bytes && memcmp(names_at + from, name, name_bytes) == 0) {
            return true;
        }
    }
    return false;
}

/* Words of the sources that a library was built from stand in its constants: in rustls the paths of
 * its files, in BoringSSL and OpenSSL their version. Names that it shows are surer, where there are
 * some. */
static void
look_at_section(const struct file *file, const char *name, const Elf64_Shdr *section,
                struct ns_tls_evidence *evidence)
{
    if (strcmp(name, ".go.buildinfo") == 0 || strcmp(name, ".note.go.buildid") == 0) {
        evidence->go = true;
    } else if (strcmp(name, ".rodata") == 0 || strcmp(name, ".strtab") == 0 ||
               strcmp(name, ".data.rel.ro") == 0) {
        evidence->rustls = evidence->rustls || contains(file, section, "/rustls-0.") ||
                           contains(file, section, "6rustls");
        evidence->boringssl = evidence->boringssl || contains(file, section, "BoringSSL") ||
                              contains(file, section, "AWS-LC ");
        evidence->hidden_openssl = evidence->hidden_openssl ||
                                   (name[1] == 'r' && contains(file, section, "OpenSSL 3.") &&
                                    contains(file, section, "SSL3_CC_WRITE")) ||
                                   (name[1] == 's' && names(file, section, "SSL_write") &&
                                    names(file, section, "OPENSSL_init_ssl"));
    }
}

static void
look_at_sections(const struct file *file, struct ns_tls_evidence *evidence)
{
    const Elf64_Ehdr *head = at(file, 0, sizeof *head);
    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_shentsize != sizeof(Elf64_Shdr) ||
        head->e_shoff % _Alignof(Elf64_Shdr) != 0) {
        return;
    }
    const Elf64_Shdr *sections =
        at(file, head->e_shoff, (uint64_t)head->e_shnum * sizeof *sections);
    if (sections == NULL || head->e_shstrndx >= head->e_shnum) {
        return;
    }
    const Elf64_Shdr *table = &sections[head->e_shstrndx];
    const char *texts = at(file, table->sh_offset, table->sh_size);
    for (size_t i = 0; texts != NULL && i < head->e_shnum; i++) {
        uint64_t name = sections[i].sh_name;
        if (name < table->sh_size && memchr(texts + name, '\0', table->sh_size - name) != NULL) {
            look_at_section(file, texts + name, &sections[i], evidence);
        }
        if (sections[i].sh_type == SHT_DYNSYM && sections[i].sh_link < head->e_shnum &&
            shows(file, &sections[i], &sections[sections[i].sh_link], "SSL_write")) {
            evidence->shows_openssl = true;
        }
    }
}

int
ns_evidence_look_into(const char *path, struct ns_tls_evidence *evidence)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        int error = fd < 0 ? errno : EINVAL;
        if (fd >= 0) {
            close(fd);
        }
        return -error;
    }
    size_t count = (size_t)status.st_size;
    count = count < FILE_BYTES_MAX ? count : FILE_BYTES_MAX;
    void *bytes = count == 0 ? MAP_FAILED : mmap(NULL, count, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        return count == 0 ? 0 : -ENOMEM;
    }
    look_at_sections(&(struct file){bytes, count}, evidence);
    munmap(bytes, count);
    return 0;
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

void
ns_evidence_look(uint32_t pid, struct ns_tls_evidence *evidence)
{
    char path[64], line[LINE_BYTES], last[LINE_BYTES] = "";
    size_t files = 0;
    *evidence = (struct ns_tls_evidence){0};
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    char program[LINE_BYTES];
    ssize_t program_bytes = readlink(path, program, sizeof program - 1);
    program[program_bytes > 0 ? program_bytes : 0] = '\0';
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
            strstr(mapped, ".so") != NULL) {
            snprintf(last, sizeof last, "%s", mapped);
            look_at_library(pid, mapped, evidence, &files);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
}

enum ns_darkness
ns_evidence_darkness(const struct ns_tls_evidence *evidence, bool in_reach)
{
    const struct {
        bool there;
        enum ns_darkness darkness;
    } rows[] = {
        {!evidence->looked, NS_DARKNESS_GONE},
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
