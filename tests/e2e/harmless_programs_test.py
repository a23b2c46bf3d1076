#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The preload library in programs that have nothing to do with it: they must not notice."""
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

LIBRARY = lab.program("libnullspend.so")


def run(command, preload, directory=None, **more):
    environment = dict(os.environ, NULLSPEND_COLLECTOR="ipc:///nonexistent/c.sock", **more)
    environment.pop("LD_PRELOAD", None)
    if preload:
        environment.update(lab.preload(LIBRARY))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, cwd=directory,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def same(command, **more):
    """The program does the same with and without the library; returns its output."""
    if shutil.which(command[0]) is None:
        skip(command[0])
    without = run(command, False, **more)
    equal(run(command, True, **more), without, " ".join(command[:3]))
    return without


def compiled(source, *flags, language="c"):
    directory = tempfile.mkdtemp(prefix="nsharm")
    target = os.path.join(directory, "program")
    done = subprocess.run(["gcc", "-x", language, "-", "-o", target, *flags], input=source.encode(),
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        skip("gcc " + " ".join(flags))
    return target


# --- programs ---------------------------------------------------------------------------------------


@test
def true_and_false_are_what_they_were():
    equal(same(["true"]), (0, b"", b""), "true")
    equal(same(["false"])[0], 1, "false")


@test
def shells_with_pipes_and_subshells_do_the_same():
    same(["bash", "-c", "for i in 1 2 3; do (echo $i | cat; exit $i); echo $?; done; exit 7"])
    same(["sh", "-c", "ls /proc/self/fd | wc -l; echo err >&2; kill -TERM $$"])


@test
def git_does_the_same():
    same(["git", "-C", lab.ROOT, "rev-parse", "--is-inside-work-tree"])
    same(["git", "ls-remote", "https://127.0.0.1:1/none"])


@test
def psql_does_the_same():
    same(["psql", "--version"])
    same(["psql", "-h", "127.0.0.1", "-p", "1", "-c", "select 1"])


GO = """
package main
import ("fmt"; "net/http"; "os"; "os/exec"; "sync")
func main() {
    _, err := http.Get("https://127.0.0.1:1/")
    out, _ := exec.Command("/bin/echo", "child").Output()
    var all sync.WaitGroup
    var lock sync.Mutex
    sum := 0
    for i := 0; i < 100; i++ {
        all.Add(1)
        go func() { defer all.Done(); lock.Lock(); sum++; lock.Unlock() }()
    }
    all.Wait()
    fmt.Println("go", len(os.Args), err != nil, string(out), sum)
    os.Exit(5)
}
"""


def is_static(path):
    """Has it no loader that could preload anything?"""
    headers = subprocess.run(["readelf", "-lW", path], stdout=subprocess.PIPE, text=True, check=True)
    return "INTERP" not in headers.stdout


@test
def go_programs_do_the_same():
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not os.path.exists(go):
        skip("go")
    with tempfile.TemporaryDirectory(prefix="nsgo") as directory:
        with open(os.path.join(directory, "main.go"), "w", encoding="utf-8") as file:
            file.write(GO)
        target = os.path.join(directory, "program")
        # With a resolver in C it has a loader, which loads what is preloaded; without, it has none.
        for cgo, flags, static in (("0", [], True), ("1", [], False), ("1", ["-buildmode=pie"], False)):
            subprocess.run([go, "build", *flags, "-o", target, "main.go"], cwd=directory, check=True,
                           env=dict(os.environ, CGO_ENABLED=cgo, GO111MODULE="off", GOFLAGS="-mod=mod",
                                    GOCACHE=os.path.join(directory, "cache")))
            equal(is_static(target), static, f"static, cgo {cgo}")
            equal(same([target])[:2], (5, b"go 1 true child\n 100\n"), f"cgo {cgo}, {flags}")


@test
def java_does_the_same():
    same(["java", "-version"])


@test
def node_does_the_same():
    same(["node", "-e", "console.log(1 + 1); process.exitCode = 3"])
    same(["node", "-e", "require('https').get('https://127.0.0.1:1/').on('error', e => "
                        "console.log(e.code))"])


@test
def python_does_the_same():
    same(["/usr/bin/python3", "-c", "import ssl, os; print(ssl.OPENSSL_VERSION, "
                                    "sorted(os.listdir('/proc/self/fd'))); raise SystemExit(4)"])


@test
def python_talks_tls_to_itself_the_same():
    code = """
import socket, ssl, subprocess, sys, tempfile, threading, os
d = tempfile.mkdtemp()
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", d + "/k", "-out", d + "/c", "-days", "2",
    "-subj", "/CN=localhost"], check=True, stderr=subprocess.DEVNULL,
    env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(d + "/c", d + "/k")
l = socket.create_server(("127.0.0.1", 0))
def serve():
    s = c.wrap_socket(l.accept()[0], server_side=True)
    while data := s.recv(65536):
        s.sendall(data)
    s.close()
threading.Thread(target=serve).start()
k = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
k.check_hostname = False
k.verify_mode = ssl.CERT_NONE
s = k.wrap_socket(socket.create_connection(l.getsockname()), server_hostname="localhost")
# Not before the server's tickets are read: OpenSSL takes them in the thread that reads, with a BIO
# that a thread that writes meanwhile uses, and may find gone.
s.sendall(b"hi")
s.recv(2)
sent = bytes(range(256)) * 4000
threading.Thread(target=s.sendall, args=(sent,)).start()
got = b""
while len(got) < len(sent):
    got += s.recv(65536)
print(got == sent, s.pending(), len(os.listdir("/proc/self/fd")), threading.active_count() < 4)
s.unwrap() if False else s.close()
"""
    equal(same(["/usr/bin/python3", "-c", code])[1].split()[:2], [b"True", b"0"], "echo")


@test
def a_static_binary_is_left_alone():
    same([compiled('#include <stdio.h>\nint main(void) { puts("static"); return 9; }', "-static")])


@test
def a_static_shell_is_left_alone():
    same(["busybox", "sh", "-c", "echo static; ls /proc/self/fd | wc -l; exit 6"])


MUSL = """
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void *add(void *sum) { return __sync_fetch_and_add((int *)sum, 1), sum; }
int main(void) {
    int sum = 0, status = 0;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, add, &sum);
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    pid_t pid = fork();
    if (pid == 0) execl("/bin/echo", "echo", "child", (char *)NULL);
    waitpid(pid, &status, 0);
    printf("musl %d %d\\n", sum, status);
    return 8;
}
"""


@test
def programs_of_another_libc_say_what_they_said_or_that_the_library_is_not_for_them():
    if shutil.which("musl-gcc") is None:
        skip("musl-gcc")
    with tempfile.TemporaryDirectory(prefix="nsmusl") as directory:
        for flags in (["-static"], []):
            target = os.path.join(directory, "program")
            subprocess.run(["musl-gcc", "-x", "c", "-", "-o", target, *flags], check=True,
                           input=MUSL.encode())
            equal(is_static(target), flags != [], "static")
            without = run([target], False)
            equal(without[:2], (8, b"child\nmusl 8 0\n"), "without")
            if flags:
                equal(run([target], True), without, " ".join(flags))
            else:
                # musl's loader ends a program whose preload it cannot load: the library is glibc's.
                code, out, err = run([target], True)
                check((code, out, err) == without or b"Error relocating" in err or b"Error loading" in
                      err, (code, out, err))


@test
def a_secure_execution_gets_nothing():
    program = compiled("""
#include <dlfcn.h>
#include <stdio.h>
#include <sys/auxv.h>
int main(void)
{
    printf("%d %d\\n", (int)getauxval(AT_SECURE), dlsym(RTLD_DEFAULT, "nullspend_clear") != NULL);
    return 0;
}
""")
    if os.geteuid() != 0:
        skip("root, to make a set-user-ID program")
    os.chmod(os.path.dirname(program), 0o755)
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)
    if not os.stat(program).st_mode & stat.S_ISUID or run([program], False)[1] != b"1 0\n":
        skip("set-user-ID programs in the temporary directory")
    code, out, err = run([program], True)
    # ld.so itself may say that it drops a library that is not trusted.
    equal((code, out), (0, b"1 0\n"), f"secure execution {err}")


@test
def a_library_is_still_opened_by_the_search_path_of_its_caller():
    program = compiled('''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(void)
{
    int deep = dlopen("libnsinner.so", RTLD_NOW | RTLD_DEEPBIND) != NULL;
    printf("%d %d\\n", deep, dlopen("libnsinner.so", RTLD_NOW) != NULL);
    return dlopen("libnsnone.so", RTLD_NOW) != NULL || dlerror() == NULL;
}
''', "-Wl,--enable-new-dtags,-rpath,$ORIGIN/inner")
    inner = os.path.join(os.path.dirname(program), "inner")
    os.mkdir(inner)
    subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-o", inner + "/libnsinner.so"],
                   check=True)
    equal(same([program])[:2], (0, b"1 1\n"), "dlopen")


@test
def prctl_and_syscall_do_what_they_did():
    program = compiled("""
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static long last;
#define SAY(call) (errno = 0, last = (call), printf("%ld %d\\n", last, errno))
int main(void)
{
    char name[16] = "", other[16] = "";
    SAY(prctl(PR_SET_NAME, "quiet"));
    SAY(prctl(PR_GET_NAME, name));
    SAY(syscall(SYS_prctl, PR_GET_NAME, other));
    puts(strcmp(name, other) == 0 ? name : "differ");
    SAY(prctl(-7, 1, 2, 3, 4));
    SAY(prctl(PR_GET_SECCOMP));
    SAY(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)1));
    SAY(prctl(PR_SET_SECCOMP, 77, NULL));
    SAY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (void *)1));
    SAY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, -1, NULL));
    SAY(syscall(SYS_seccomp, 77, 0, NULL));
    SAY(syscall(-1));
    SAY(syscall(SYS_close, -1));
    SAY(syscall(SYS_getpid) == getpid());
    int file = memfd_create("pages", 0);
    SAY(ftruncate(file, 12288));
    SAY(pwrite(file, "third", 6, 8192));
    char *page = (char *)syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_SHARED, file, 8192);
    puts(page);
    for (int i = 0; i < 3; i++) {
        int status = -1;
        fflush(stdout);
        long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) _exit(40 + i);
        waitpid((pid_t)pid, &status, 0);
        printf("%d\\n", WEXITSTATUS(status));
    }
    return 0;
}
""", "-D_GNU_SOURCE", "-include", "signal.h")
    code, out, _ = same([program])
    equal((code, out.split(b"\n")[-5:]), (0, [b"third", b"40", b"41", b"42", b""]), "the end of it")


@test
def thousands_of_forks_with_threads_end_well():
    program = compiled("""
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static volatile int stop;
static void *spin(void *x) { while (!stop) { usleep(100); } return x; }
int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, spin, NULL);
    int bad = 0;
    for (int i = 0; i < 1000; i++) {
        pid_t pid = i % 3 == 0 ? vfork() : fork();
        if (pid == 0) _exit(3);
        int status;
        waitpid(pid, &status, 0);
        bad += !WIFEXITED(status) || WEXITSTATUS(status) != 3;
    }
    for (int i = 0; i < 30; i++) {
        pid_t pid;
        char *words[] = {"true", NULL};
        if (posix_spawnp(&pid, "true", NULL, NULL, words, environ) != 0) bad++;
        else { int status; waitpid(pid, &status, 0); bad += status != 0; }
    }
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%d\\n", bad);
    return bad;
}
""", "-lpthread")
    equal(same([program])[1], b"0\n", "children that did not end well")


@test
def what_openssl_says_of_a_dead_connection_is_said_the_same():
    program = compiled("""
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
int main(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    SSL_set_tlsext_host_name(ssl, "api.openai.com");
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    char byte;
    for (int i = 0; i < 2; i++) {
        int result = SSL_write(ssl, "GET / HTTP/1.1\\r\\n", 16);
        printf("%d %d", result, SSL_get_error(ssl, result));
        result = SSL_read(ssl, &byte, 1);
        printf(" %d %d %lu\\n", result, SSL_get_error(ssl, result), ERR_peek_error());
        BIO_set_mem_eof_return(SSL_get_rbio(ssl), 0);
    }
    printf("%d %d\\n", SSL_shutdown(ssl), SSL_pending(ssl));
    SSL_free(ssl);
    SSL_CTX_free(context);
    return 0;
}
""", "-lssl", "-lcrypto")
    same([program])


@test
def errors_that_the_program_left_in_openssl_s_queue_stay_there():
    program = compiled("""
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
int main(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    ERR_raise(ERR_LIB_USER, 42);
    errno = 77;
    int pending = SSL_pending(ssl);
    printf("%d %d %d\\n", pending, errno, ERR_GET_REASON(ERR_peek_error()));
    SSL_free(ssl);
    printf("%d %d\\n", errno, ERR_GET_REASON(ERR_peek_error()));
    SSL_free(NULL);
    SSL_CTX_free(context);
    return 0;
}
""", "-lssl", "-lcrypto")
    equal(same([program])[1].split()[1:3], [b"77", b"42"], "errno and reason")


if __name__ == "__main__":
    main()
