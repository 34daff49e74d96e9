FROM debian:12
RUN chmod u-s /usr/bin/x && chmod 0755 /y && setcap -r /z
