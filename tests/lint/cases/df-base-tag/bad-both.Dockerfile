# lines: 2 3
FROM golang AS b
FROM debian
COPY --from=b /x /x
