# lines: 3
FROM debian:12
COPY --chmod=0777 . /app
