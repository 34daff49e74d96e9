# lines: 4
FROM debian:12 AS b
USER app
FROM debian:12
COPY --from=b /a /a
