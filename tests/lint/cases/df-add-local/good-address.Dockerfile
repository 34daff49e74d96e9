FROM debian:12
ADD https://x.example/a /a
