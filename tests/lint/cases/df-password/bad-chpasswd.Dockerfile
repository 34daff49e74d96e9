# lines: 3
FROM debian:12
RUN echo 'root:toor' | chpasswd
