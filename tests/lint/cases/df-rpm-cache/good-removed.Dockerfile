FROM fedora:41
RUN yum install -y x && rm -rf /var/cache/yum
