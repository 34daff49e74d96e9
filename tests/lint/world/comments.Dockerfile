FROM debian:12
# a comment
RUN apt-get update && \
    # comment between
    apt-get install -y \
	# tabbed comment
      ca-certificates \

      curl \
    # another
    && rm -rf /var/lib/apt/lists/*
CMD [ "node", # not a comment
  "x" ]
USER app
HEALTHCHECK CMD x
