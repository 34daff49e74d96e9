# lines: 3
FROM debian:12
ADD https://github.com/a/b.git#v1 /b
