FROM debian:12
RUN curl -o a.tgz https://x.example/a.tgz && echo '00  a.tgz' | sha256sum -c && tar xf a.tgz && sh a/install.sh
