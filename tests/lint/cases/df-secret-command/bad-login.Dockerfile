# lines: 3
FROM debian:12
RUN git clone https://bot:hunter22@git.example/x
