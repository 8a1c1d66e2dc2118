// Command cni-oracle says what the reference libraries make of the configurations and results in a table: libcni, and
// go-cni, through which containerd calls it. It reads the table from its standard input and writes it to its standard
// output with the answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// Table is src/network/cni/libcni.json.
type Table struct {
	Of             string          `json:"of"`
	Configurations []Configuration `json:"configurations"`
	Results        []Result        `json:"results"`
}

// Configuration is a configuration directory.
type Configuration struct {
	Case string `json:"case"`
	// Files by path; one that ends in a slash is a directory.
	Files map[string]string `json:"files"`
	// Differs says why Holdfast reads it otherwise.
	Differs string  `json:"differs,omitempty"`
	Says    Network `json:"says"`
}

// Network is what go-cni makes of a configuration directory.
type Network struct {
	Error      string   `json:"error,omitempty"`
	Name       string   `json:"name,omitempty"`
	CNIVersion *string  `json:"cniVersion,omitempty"`
	Plugins    []string `json:"plugins,omitempty"`
}

// Result is what a plugin wrote under a list of a version.
type Result struct {
	Case    string `json:"case"`
	Version string `json:"version"`
	Wrote   string `json:"wrote"`
	// Differs says why Holdfast reads it otherwise.
	Differs string  `json:"differs,omitempty"`
	Says    Outcome `json:"says"`
}

// Outcome is what libcni and go-cni make of it.
type Outcome struct {
	// Error is why it is no result.
	Error string `json:"error,omitempty"`
	// Version is the one that it was read in.
	Version string `json:"version,omitempty"`
	// As is the result as each version has it; a text says why a version has none.
	As map[string]any `json:"as,omitempty"`
	// Addresses are those of eth0, in the order of go-cni.
	Addresses []string `json:"addresses,omitempty"`
	// Unconnected is why go-cni connects no pod with it.
	Unconnected string `json:"unconnected,omitempty"`
}

// fixed answers every call with the same bytes.
type fixed struct {
	version.PluginDecoder
	wrote []byte
}

func (f *fixed) ExecPlugin(context.Context, string, []byte, []string) ([]byte, error) {
	return f.wrote, nil
}

func (f *fixed) FindInPath(plugin string, _ []string) (string, error) { return plugin, nil }

func main() {
	var table Table
	if err := json.NewDecoder(os.Stdin).Decode(&table); err != nil {
		log.Fatalf("read the table: %v", err)
	}
	for i := range table.Configurations {
		table.Configurations[i].Says = load(table.Configurations[i].Files)
	}
	for i := range table.Results {
		table.Results[i].Says = outcome(table.Results[i].Version, []byte(table.Results[i].Wrote))
	}
	fmt.Printf("{\"of\":%s,\n", line(table.Of))
	fmt.Printf("\"configurations\":[\n%s],\n", lines(table.Configurations))
	fmt.Printf("\"results\":[\n%s]}\n", lines(table.Results))
}

// lines writes a case a line, so that a change of one is seen as one.
func lines[T any](cases []T) string {
	var out strings.Builder
	for i, one := range cases {
		out.WriteString(line(one))
		if i+1 < len(cases) {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func line(value any) string {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	must(encoder.Encode(value))
	return strings.TrimSpace(out.String())
}

func temporary() string {
	dir, err := os.MkdirTemp("", "cni-oracle")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// load reads a configuration directory as containerd does.
func load(files map[string]string) Network {
	dir := temporary()
	defer os.RemoveAll(dir)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if name[len(name)-1] == '/' {
			must(os.MkdirAll(path, 0o755))
			continue
		}
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		must(os.WriteFile(path, []byte(text), 0o644))
	}
	cni, err := gocni.New(gocni.WithPluginConfDir(dir))
	must(err)
	if err := cni.Load(gocni.WithDefaultConf); err != nil {
		return Network{Error: "refused"}
	}
	config := cni.GetConfig().Networks[0].Config
	says := Network{Name: config.Name, CNIVersion: &config.CNIVersion}
	for _, plugin := range config.Plugins {
		says.Plugins = append(says.Plugins, plugin.Network.Type)
	}
	return says
}

// outcome reads a result as libcni does, brings it to every version, and connects a pod with it as containerd does.
func outcome(of string, wrote []byte) Outcome {
	netconf := fmt.Sprintf(`{"cniVersion":%q,"name":"n","type":"p"}`, of)
	exec := &fixed{wrote: wrote}
	result, err := invoke.ExecPluginWithResult(context.Background(), "p", []byte(netconf), &invoke.Args{}, exec)
	if err != nil {
		return Outcome{Error: "refused"}
	}
	says := Outcome{Version: result.Version(), As: map[string]any{}}
	for _, to := range version.All.SupportedVersions() {
		says.As[to] = as(result, to)
	}
	says.Addresses, says.Unconnected = connect(of, wrote)
	return says
}

func as(result types.Result, to string) (says any) {
	converted, err := result.GetAsVersion(to)
	if err != nil {
		return "refused"
	}
	encoded, err := json.Marshal(converted)
	must(err)
	must(json.Unmarshal(encoded, &says))
	return says
}

// connect calls go-cni's Setup with a plugin that writes the result.
func connect(of string, wrote []byte) (addresses []string, problem string) {
	dir := temporary()
	defer os.RemoveAll(dir)
	must(os.WriteFile(filepath.Join(dir, "wrote"), wrote, 0o644))
	must(os.WriteFile(filepath.Join(dir, "p"), []byte("#!/bin/sh\ncat "+dir+"/wrote\n"), 0o755))
	list := fmt.Sprintf(`{"cniVersion":%q,"name":"n%d","plugins":[{"type":"p"}]}`, of, os.Getpid())
	cni, err := gocni.New(gocni.WithPluginDir([]string{dir}))
	must(err)
	must(cni.Load(gocni.WithConfListBytes([]byte(list))))
	defer os.Remove(fmt.Sprintf("/var/lib/cni/results/n%d-oracle-eth0", os.Getpid()))
	result, err := cni.SetupSerially(context.Background(), "oracle", "/proc/self/ns/net")
	if err != nil {
		return nil, "refused"
	}
	for _, config := range result.Interfaces["eth0"].IPConfigs {
		addresses = append(addresses, config.IP.String())
	}
	if len(addresses) == 0 {
		return nil, "no address"
	}
	return addresses, ""
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
