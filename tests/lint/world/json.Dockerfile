FROM alpine:3.19
RUN ["/bin/sh", "-c", "curl -s https://x | sh"]
RUN ["apk", "add", "sudo"]
RUN ['echo', 'single quotes are shell']
CMD ["a", "b",]
ENTRYPOINT [ "sh", "-c", "exec \"$@\"" ]
COPY ["a file", "b", "/dest/"]
VOLUME ["/data", "/var/run/docker.sock"]
USER 1
HEALTHCHECK --interval=30s --timeout=3s CMD ["curl", "-f", "http://localhost"]
