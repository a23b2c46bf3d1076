// SPDX-License-Identifier: Apache-2.0

// A Go program that calls a provider, as it is told on standard input, a line a command:
//
//	call MODEL REPLAY         one call; prints "STATUS BYTES"
//	stream MODEL REPLAY       the same, streamed
//	size MODEL REPLAY BYTES   the same, with a prompt of so many bytes
//	chunked MODEL REPLAY      the same, with a body whose length is not told
//	many COUNT                so many calls at once, on as many connections (HTTP/1.1); prints how
//	                          many were answered with 200
//	press                     from now on, garbage is collected without pause
//	deepen                    from now on, stacks grow and shrink without pause, too
//	raw MODEL REPLAY          one call on a connection of crypto/tls: each byte of its body written
//	                          by a new goroutine, deeper in its stack than the last, so that some
//	                          stack has to grow where Write begins; its answer read by one new
//	                          goroutine after the other into an array on its stack; prints STATUS and
//	                          whether such an array ever moved while it was read into
//	abandon MODEL REPLAY      begins to read a streamed answer, and gives it up
//	serve                     serves HTTPS on a free port, and is a proxy there; prints it
//
// usage: [HOST_NAMED=HOST] go_client http1|http2 URL [CERTIFICATE KEY]
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

var target string
var client *http.Client

func body(model string, stream bool, prompt string) []byte {
	request := map[string]any{"model": model,
		"messages": []map[string]string{{"role": "user", "content": prompt}}}
	if stream {
		request["stream"] = true
		request["stream_options"] = map[string]bool{"include_usage": true}
	}
	text, _ := json.Marshal(request)
	return text
}

func call(content io.Reader, replay string) (int, int) {
	request, err := http.NewRequest("POST", target, content)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0, 0
	}
	request.Host = os.Getenv("HOST_NAMED") // "": that of the URL
	request.Header.Set("Authorization", "Bearer sk-test-openai-0000000000001234")
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Replay", replay)
	answer, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0, 0
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return answer.StatusCode, len(text)
}

func abandon(model string, replay string) int {
	request, _ := http.NewRequest("POST", target, bytes.NewReader(body(model, true, "hello")))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Replay", replay)
	answer, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0
	}
	io.ReadFull(answer.Body, make([]byte, 100))
	answer.Body.Close()
	return answer.StatusCode
}

// Of an unknown kind, so that nobody can ask how long it is.
type unmeasured struct{ io.Reader }

func many(count int) int {
	var all sync.WaitGroup
	var lock sync.Mutex
	good := 0
	for i := 0; i < count; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			replay := fmt.Sprintf("tokens=9/%d;events=40", i+1)
			status, _ := call(bytes.NewReader(body("gpt-4o-mini", true, "hello")), replay)
			lock.Lock()
			defer lock.Unlock()
			if status == 200 {
				good++
			}
		}(i)
	}
	all.Wait()
	return good
}

func press() {
	go func() {
		for {
			runtime.GC()
		}
	}()
}

func deepen() {
	for i := 0; i < 2; i++ {
		go func() {
			for {
				grow(200)
				runtime.Gosched()
			}
		}()
	}
}

func grow(depth int) int {
	var room [256]byte
	if depth == 0 {
		return len(room)
	}
	room[depth%len(room)] = byte(depth)
	return grow(depth-1) + int(room[0])
}

// Reads into an array on a stack that is as small as stacks are.
func readOnStack(connection *tls.Conn) (string, bool, error) {
	var room [700]byte
	before := uintptr(unsafe.Pointer(&room))
	count, err := connection.Read(room[:])
	return string(room[:count]), before != uintptr(unsafe.Pointer(&room)), err
}

func writeDeep(connection *tls.Conn, part []byte, depth int) int {
	var room [24]byte
	if depth == 0 {
		connection.Write(part)
		return len(part)
	}
	room[depth%len(room)] = 1
	return writeDeep(connection, part, depth-1) + int(room[0])
}

func raw(model string, replay string) (string, bool) {
	where, _ := url.Parse(target)
	connection, err := tls.Dial("tcp", net.JoinHostPort(where.Hostname(), "443"), nil)
	if err != nil {
		return err.Error(), false
	}
	defer connection.Close()
	content := body(model, false, "hello")
	fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Connection: close\r\nX-Replay: %s\r\nContent-Length: %d\r\n\r\n",
		where.Path, where.Hostname(), replay, len(content))
	for i := range content {
		done := make(chan bool)
		go func(i int) {
			writeDeep(connection, content[i:i+1], i)
			close(done)
		}(i)
		<-done
	}
	var text strings.Builder
	var moved, failed bool
	for !failed {
		done := make(chan bool)
		go func() {
			part, m, err := readOnStack(connection)
			text.WriteString(part)
			moved = moved || m
			failed = err != nil
			close(done)
		}()
		<-done
	}
	words := strings.Fields(text.String())
	if len(words) < 2 {
		return "0", moved
	}
	return words[1], moved
}

func tunnel(answer http.ResponseWriter, request *http.Request) {
	there, err := net.Dial("tcp", request.Host)
	if err != nil {
		http.Error(answer, err.Error(), 502)
		return
	}
	here, _, _ := answer.(http.Hijacker).Hijack()
	fmt.Fprint(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(there, here)
		there.Close()
	}()
	io.Copy(here, there)
	here.Close()
}

func serve(certificate string, key string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if request.Method == "CONNECT" {
			tunnel(answer, request)
			return
		}
		io.Copy(io.Discard, request.Body)
		fmt.Fprintln(answer, "served")
	})
	server := &http.Server{Handler: handler}
	if os.Args[1] == "http1" {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	go server.ServeTLS(listener, certificate, key)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
}

func do(words []string) {
	text := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	number := func(i int) int {
		value, _ := strconv.Atoi(text(i))
		return value
	}
	switch words[0] {
	case "call":
		fmt.Println(call(bytes.NewReader(body(text(1), false, "a secret")), text(2)))
	case "stream":
		fmt.Println(call(bytes.NewReader(body(text(1), true, "a secret")), text(2)))
	case "size":
		prompt := strings.Repeat("word ", number(3)/5)
		fmt.Println(call(bytes.NewReader(body(text(1), false, prompt)), text(2)))
	case "chunked":
		content := bytes.NewReader(body(text(1), false, "a secret"))
		fmt.Println(call(unmeasured{content}, text(2)))
	case "many":
		fmt.Println(many(number(1)))
	case "press":
		press()
		fmt.Println("pressing")
	case "deepen":
		deepen()
		fmt.Println("deepening")
	case "raw":
		fmt.Println(raw(text(1), text(2)))
	case "abandon":
		fmt.Println(abandon(text(1), text(2)))
	case "serve":
		serve(os.Args[3], os.Args[4])
	default:
		fmt.Println("what?")
	}
}

func main() {
	transport := &http.Transport{ForceAttemptHTTP2: os.Args[1] == "http2",
		Proxy: http.ProxyFromEnvironment}
	if os.Args[1] == "http1" {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	target = os.Args[2]
	client = &http.Client{Transport: transport}
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		do(strings.Fields(input.Text()))
	}
}
