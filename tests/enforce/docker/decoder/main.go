// What the engine's own types make of a request body: the oracle of test_decoder.py.
//
// Reads a letter (c create, e exec, u update, v volume, n network), a length of four bytes and the body, again and again; answers
// with a length and the value as JSON, or "!" and the error. Built with Debian's packages of the engine's source:
//
//	GOPATH=/usr/share/gocode GO111MODULE=off go build -o decoder main.go
//
// (golang-github-docker-docker-dev, golang-github-docker-go-connections-dev, golang-github-docker-go-units-dev,
// golang-github-opencontainers-image-spec-dev, golang-github-opencontainers-go-digest-dev, golang-github-distribution-reference-dev,
// golang-github-gogo-protobuf-dev, golang-github-pkg-errors-dev, golang-github-moby-docker-image-spec-dev)
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

type wrapper struct {
	*container.Config
	HostConfig       *container.HostConfig     `json:"HostConfig,omitempty"`
	NetworkingConfig *network.NetworkingConfig `json:"NetworkingConfig,omitempty"`
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		kind, err := in.ReadByte()
		if err != nil {
			return
		}
		var n uint32
		binary.Read(in, binary.BigEndian, &n)
		body := make([]byte, n)
		io.ReadFull(in, body)
		var v any
		switch kind {
		case 'c':
			v = &wrapper{}
		case 'e':
			v = &types.ExecConfig{}
		case 'u':
			v = &container.UpdateConfig{}
		case 'v':
			v = &volume.CreateOptions{}
		case 'n':
			v = &types.NetworkCreateRequest{}
		}
		var text []byte
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(v); err != nil {
			text = []byte("!" + err.Error())
		} else {
			text, _ = json.Marshal(v)
		}
		binary.Write(out, binary.BigEndian, uint32(len(text)))
		out.Write(text)
		out.Flush()
	}
}
