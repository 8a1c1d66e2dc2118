//go:build deps

// Package deps pins what critest is made of. critest is a test of its module, and `go mod tidy`
// follows imports of packages only, so the package that holds its specs is named here.
package deps

import (
	_ "sigs.k8s.io/cri-tools/pkg/benchmark"
	_ "sigs.k8s.io/cri-tools/pkg/validate"
)
