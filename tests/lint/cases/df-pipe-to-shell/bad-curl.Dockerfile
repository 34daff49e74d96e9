# lines: 3
FROM debian:12
RUN curl -fsSL https://x.example/install.sh | bash
