#!/bin/bash
# A leading zero in YAML means octal or decimal by the digits that follow it (go.yaml.in/yaml v3.0.5).
#
# Expected: `mode: 0777` and `mode: 0778` are read by one rule. By YAML 1.1 the first is octal and the second no number;
# by YAML 1.2 both are decimal.
# Seen: the first is 511 (octal), the second 778 (decimal): a text that is no octal number is tried as a float, and a
# float goes into an integer field. So do 1e3 (1000) and 416.7 (416, the fraction is dropped without an error).
# Who meets it: all that read file modes with this module, such as the reference library of the Container Device
# Interface (`fileMode` of container-device-interface v1.1.2), where 0688 becomes the mode 01260.
#
# Needs Go 1.21 or newer and the Go module proxy. Exits with 1 when the behaviour differs.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

func main() {
	for _, text := range []string{"0777", "0778", "1e3", "416.7"} {
		var out struct{ Mode uint32 }
		err := yaml.Unmarshal([]byte("mode: "+text), &out)
		fmt.Println(text, out.Mode, err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get go.yaml.in/yaml/v3@v3.0.5 >/dev/null 2>&1
echo "go.yaml.in/yaml/v3 v3.0.5: text, value of a uint32 field, error"
go run . | tee seen
printf '%s\n' '0777 511 <nil>' '0778 778 <nil>' '1e3 1000 <nil>' '416.7 416 <nil>' | cmp - seen
