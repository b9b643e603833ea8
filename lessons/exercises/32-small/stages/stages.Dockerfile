FROM {name}-lab
RUN echo {word} > /tools
RUN cat /tools > /result
