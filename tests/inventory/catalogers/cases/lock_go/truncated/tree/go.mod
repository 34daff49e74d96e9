module example.com/demo

go 1.24.4

require (
	github.com/pkg/errors v0.9.1 // indirect
	golang.o