# lines: 2
FROM scratch
COPY a /a
