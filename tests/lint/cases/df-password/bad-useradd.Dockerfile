# lines: 3
FROM debian:12
RUN useradd -m -p '$6$x$y' app
