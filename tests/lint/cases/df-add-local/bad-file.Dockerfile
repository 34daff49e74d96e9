# lines: 3
FROM debian:12
ADD ["a b.txt", "/app/"]
