module example.com/old

go 1.16

require (
	github.com/BurntSushi/toml v0.3.1
	github.com/dgrijalva/jwt-go v3.2.0+incompatible
)

replace github.com/BurntSushi/toml v0.3.0 => ./toml
