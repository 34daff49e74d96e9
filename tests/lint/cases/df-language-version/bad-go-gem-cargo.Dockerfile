# lines: 3 4 5
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN go install golang.org/x/tools/cmd/goimports@latest
RUN gem install rails
RUN cargo install ripgrep
