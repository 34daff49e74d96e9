FROM alpine:3
RUN apk add curl && rm -rf /var/cache/apk/*
