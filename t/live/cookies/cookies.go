// The cookie parsers of Go's net/http and of fasthttp. Usage: cookies net/http|fasthttp NAME
// A Cookie header in hexadecimal a line; the value under the name likewise, or "-".
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"
)

func netHTTP(header, name string) []byte {
	request := http.Request{Header: http.Header{"Cookie": {header}}}
	cookie, err := request.Cookie(name)
	if err != nil {
		return nil
	}
	return []byte(cookie.Value)
}

func fastHTTP(header, name string) []byte {
	var request fasthttp.RequestHeader
	request.Set("Cookie", header)
	return request.Cookie(name)
}

func main() {
	parse, name := netHTTP, os.Args[2]
	if os.Args[1] == "fasthttp" {
		parse = fastHTTP
	}
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		header, err := hex.DecodeString(in.Text())
		if err != nil {
			log.Fatal(err)
		}
		if value := parse(string(header), name); len(value) > 0 {
			fmt.Fprintf(out, "%x\n", value)
		} else {
			fmt.Fprintln(out, "-")
		}
	}
	out.Flush()
}
