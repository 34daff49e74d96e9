FROM debian:12
RUN --security=sandbox x
RUN echo --security=insecure
