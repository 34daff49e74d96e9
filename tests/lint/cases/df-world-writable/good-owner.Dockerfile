FROM debian:12
RUN chmod 755 /a && chmod u+w /b && chmod ug+rwX /c && chmod 0660 /d
