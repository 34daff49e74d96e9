# lines: 3
FROM debian:12
ENV TOKEN abc123def
