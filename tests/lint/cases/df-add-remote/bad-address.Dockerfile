# lines: 3
FROM debian:12
ADD https://x.example/a.tgz /a/
