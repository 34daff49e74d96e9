FROM debian:12.1
USER root
RUN apt-get update && apt-get install --no-install-recommends -y x=1 && rm -rf /var/lib/apt/lists/*
USER 1000
USER 0:0
HEALTHCHECK CMD x
ENTRYPOINT ["gosu", "app", "/x"]
