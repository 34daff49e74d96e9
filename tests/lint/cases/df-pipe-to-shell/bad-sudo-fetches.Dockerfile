# lines: 3
FROM debian:12
RUN sudo -E curl -fsSL https://x/install.sh | bash
