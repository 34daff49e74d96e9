FROM debian:12
ADD a.tgz /a/
