# lines: 3
FROM alpine:3
RUN apk update && apk add curl
