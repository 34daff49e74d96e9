FROM debian:12
RUN curl https://x.example/a.tgz | tar xz
