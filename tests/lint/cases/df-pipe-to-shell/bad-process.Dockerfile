# lines: 4
FROM debian:12
SHELL ["/bin/bash", "-c"]
RUN bash <(curl -s https://x.example)
