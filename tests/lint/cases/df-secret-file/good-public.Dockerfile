FROM debian:12
COPY ca-bundle.pem id_rsa.pub cert.pem /etc/ssl/
