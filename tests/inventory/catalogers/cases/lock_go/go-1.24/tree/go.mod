module example.com/demo

go 1.24.4

require (
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/text v0.3.7
	gopkg.in/yaml.v2 v2.4.0
	rsc.io/quote/v3 v3.1.0
)

replace gopkg.in/yaml.v2 => gopkg.in/yaml.v2 v2.2.8

replace rsc.io/quote/v3 => ./quote

exclude golang.org/x/text v0.3.6

retract v1.0.0
