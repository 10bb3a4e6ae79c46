async (model, columns) => {
  // The browser reads the file; gradio's uploads, which would be written to the server's disk, are closed.
  const input = document.getElementById("rb-file-input"), file = input.files[0];
  if (!file) return [model, columns, null];
  const upload = { name: file.name, size: file.size, content: null };
  if (file.size <= Number(input.dataset.maxBytes)) {
    upload.content = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => resolve(null); // the server says that it could not be read
      reader.readAsDataURL(file);
    });
  }
  return [model, columns, upload];
}
