FROM debian:12
RUN curl -o -k-file https://x.example --cacert /x.pem
