# lines: 4
FROM debian:12
RUN set -e; \
  curl https://x.example | tee /a | python3 -
