FROM debian:12
RUN curl -fsSL https://x.example -o k && wget -q https://x.example
