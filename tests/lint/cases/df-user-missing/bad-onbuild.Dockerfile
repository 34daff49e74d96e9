# lines: 2
FROM debian:12
ONBUILD USER app
