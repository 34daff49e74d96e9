FROM alpine:3.19
RUN echo a && \

  echo b && \


  echo c
RUN echo trailing \   
  && echo x
USER 1
HEALTHCHECK CMD x
