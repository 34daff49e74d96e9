# lines: 3
FROM debian:12
RUN wget -qO- https://x.example | sudo -E sh -
