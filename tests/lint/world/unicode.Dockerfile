FROM alpine:3.19
# ünïcödé 日本語 😀
LABEL maintainer="😀 x" desc="日本語"
RUN echo "😀😀" && sudo echo "ü"
USER 1
HEALTHCHECK CMD x
