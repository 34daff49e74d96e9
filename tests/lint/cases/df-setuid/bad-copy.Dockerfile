# lines: 3
FROM debian:12
COPY --chmod=4755 x /x
