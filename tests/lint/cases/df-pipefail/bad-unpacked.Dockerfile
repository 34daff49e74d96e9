# lines: 3 4
FROM debian:13@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
RUN curl -fsSL https://a.example/x.tar.gz | tar -xz -C /opt
RUN wget -qO- https://a.example/key | gpg --dearmor > /k
