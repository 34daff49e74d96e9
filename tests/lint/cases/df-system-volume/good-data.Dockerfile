FROM debian:12
VOLUME /data /etc/app /var/lib/x
USER 1
