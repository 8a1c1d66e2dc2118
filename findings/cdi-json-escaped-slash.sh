#!/bin/bash
# The reference library of the Container Device Interface refuses valid JSON: v1.1.2 reads .json files as YAML 1.1.
#
# Expected: a description in JSON may have any escape of JSON (RFC 8259, section 7), so "\/dev\/null" is /dev/null.
# Seen: "found unknown escape character". The file is parsed with go.yaml.in/yaml v3.0.5, which does not know the
# escape of a slash; encoders of other languages write it by default (PHP, some of Java and JavaScript). The same file
# without the two backslashes is read.
#
# Needs Go 1.23 or newer and the Go module proxy. Exits with 1 when the behaviour differs.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"tags.cncf.io/container-device-interface/pkg/cdi"
)

func main() {
	data, _ := os.ReadFile(os.Args[1])
	_, err := cdi.ReadSpec(os.Args[1], 0)
	verdict := "read"
	if err != nil {
		words := strings.Split(err.Error(), ": ")
		verdict = words[len(words)-1]
	}
	fmt.Println(os.Args[1], "valid JSON:", json.Valid(data), "-", verdict)
}
GO
text='{"cdiVersion": "0.5.0", "kind": "acme.com/x", "devices": [{"name": "d", "containerEdits": {"deviceNodes": [{"path": "PATH"}]}}]}'
echo "${text/PATH//dev/null}" >plain.json
echo "${text/PATH/\\/dev\\/null}" >escaped.json
go mod init finding >/dev/null 2>&1
go get tags.cncf.io/container-device-interface@v1.1.2 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
echo "container-device-interface v1.1.2: file, verdict"
{ go run . plain.json; go run . escaped.json; } | tee seen
printf '%s\n' 'plain.json valid JSON: true - read' 'escaped.json valid JSON: true - found unknown escape character' | cmp - seen
